package dbtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSweepDropsWhatKilledTestsLeft(t *testing.T) {
	srv := need(t)
	admin, err := srv.connect(t.Context())
	require.NoError(t, err)
	defer admin.close()

	old, used, young := databaseName(time.Unix(1000, 0)), databaseName(time.Unix(1000, 0)), databaseName(time.Now())
	for _, name := range []string{old, used, young} {
		require.NoError(t, admin.createEmpty(t.Context(), name))
		defer func() { require.NoError(t, admin.drop(t.Context(), name)) }()
	}
	user := (&DB{DSN: srv.dsn(used), Dialect: "postgres"}).Open(t, nil)
	require.NoError(t, admin.sweep(t.Context(), time.Hour))

	names, err := admin.databases(t.Context(), databasePrefix, "")
	require.NoError(t, err)
	require.NotContains(t, names, old)
	require.Contains(t, names, used, "somebody is connected")
	require.Contains(t, names, young, "its test may be about to connect")
	require.NoError(t, pool(user).Close())
}

func TestATemplateThatWasTakenAwayIsMadeAgain(t *testing.T) {
	Postgres(t)
	admin, err := need(t).connect(t.Context())
	require.NoError(t, err)
	defer admin.close()
	template, err := templateName()
	require.NoError(t, err)
	require.NoError(t, admin.drop(t.Context(), template))
	require.NoError(t, Postgres(t).Exec("SELECT count(*) FROM hourbell_schedules").Error)
}

func TestParse(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://u:p@h:1":               "postgres://u:p@h:1/x?sslmode=prefer",
		"postgresql://u@h/db?sslmode=None": "postgresql://u@h/x?sslmode=None",
	} {
		srv, err := parse(given)
		require.NoError(t, err)
		require.Equal(t, want, srv.dsn("x"))
	}
	_, err := parse("h:1:secret")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
