package dbtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSweepDropsDatabasesOfKilledTests(t *testing.T) {
	srv := requireServer(t)
	admin, err := srv.connect(t.Context())
	require.NoError(t, err)
	defer admin.close()

	oldTime := time.Unix(1000, 0)
	unused, used, young := databaseName(oldTime), databaseName(oldTime), databaseName(time.Now())
	for _, name := range []string{unused, used, young} {
		require.NoError(t, admin.createEmpty(t.Context(), name))
		defer func() { require.NoError(t, admin.drop(t.Context(), name)) }()
	}
	client := (&DB{DSN: srv.dsn(used), Dialect: "postgres"}).Open(t, nil)
	require.NoError(t, admin.sweep(t.Context(), time.Hour))

	names, err := admin.databases(t.Context(), databasePrefix, "true")
	require.NoError(t, err)
	require.NotContains(t, names, unused)
	require.Contains(t, names, used, "a client is connected")
	require.Contains(t, names, young, "its test may not have connected yet")
	require.NoError(t, pool(client).Close())
}

func TestDroppedTemplateIsCreatedAgain(t *testing.T) {
	Postgres(t)
	admin, err := requireServer(t).connect(t.Context())
	require.NoError(t, err)
	defer admin.close()
	template, err := templateName()
	require.NoError(t, err)
	require.NoError(t, admin.drop(t.Context(), template))
	require.NoError(t, Postgres(t).Exec("SELECT count(*) FROM hourbell_schedules").Error)
}

func TestParseURL(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://u:p@h:1":               "postgres://u:p@h:1/x?sslmode=prefer",
		"postgresql://u@h/db?sslmode=None": "postgresql://u@h/x?sslmode=None",
	} {
		srv, err := parseURL(address)
		require.NoError(t, err)
		require.Equal(t, want, srv.dsn("x"))
	}
	_, err := parseURL("h:1:secret")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
