package zoneinfo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoadReturnsZoneByName(t *testing.T) {
	location, err := Load("Asia/Tokyo")
	require.NoError(t, err)
	require.Equal(t, "Asia/Tokyo", location.String())
	_, err = Load("Mars/Olympus")
	require.Error(t, err)
}
