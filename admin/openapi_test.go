package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The document lists exactly the routes of the API and their query parameters.
func TestDocumentMatchesRoutes(t *testing.T) {
	type parameter struct {
		Ref string `json:"$ref"`
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []parameter
		}
		Components struct {
			Parameters map[string]struct{ Name, In string }
		}
	}
	require.NoError(t, json.Unmarshal(document, &doc))
	documented := map[string][]string{}
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			names := []string{}
			for _, p := range operation.Parameters {
				if component := doc.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]; component.In == "query" {
					names = append(names, component.Name)
				}
			}
			documented[strings.ToUpper(method)+" "+path] = names
		}
	}
	routed := map[string][]string{}
	for _, r := range (&handler{}).routes() {
		routed[r.method+" "+r.path] = append([]string{}, r.query...)
	}
	require.Len(t, documented, len(routed))
	for operation, names := range routed {
		require.Contains(t, documented, operation)
		require.ElementsMatch(t, names, documented[operation], operation)
	}
}
