package store_test
import ("testing";"time";"context";"github.com/stretchr/testify/require";"github.com/hourbell/hourbell/internal/dbtest")
func TestProbeBusyDeadline(t *testing.T) {
	db := dbtest.SQLite(t)
	s, _ := bound(t, db.Open(t, nil))
	other := db.Begin()
	require.NoError(t, other.Exec("UPDATE hourbell_migrations SET version = version").Error)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond); defer cancel()
	start := time.Now()
	_, err := s.Insert(ctx, added(schedule("a")))
	t.Log(time.Since(start), err)
	other.Rollback()
}
