package admin

import (
	_ "embed"
	"encoding/json"
)

//go:embed openapi.json
var document json.RawMessage

func (h *handler) openAPI(*call) (*response, error) { return okResponse(document) }
