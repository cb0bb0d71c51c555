// Package admin serves a hourbell Scheduler over HTTP: an admin page, a JSON
// API and the API's OpenAPI document.
//
// [New] returns one handler. A host mounts it on its own router, under any
// prefix:
//
//	handler, err := admin.New(scheduler, admin.Config{Authorize: authorize})
//	mux.Handle("/admin/schedules/", http.StripPrefix("/admin/schedules", handler))
//
// The page is at the root of the handler. It works without JavaScript. It
// disables each control that the user may not use. To find out, it calls
// Config.Authorize once per control with the request for the page, about fifty
// times for a full list. Authorize should therefore be fast.
//
// Times in responses are RFC 3339 in UTC; a missing time is null. Errors are
// problem documents (RFC 9457) that name the error and the remedy. Lists use
// cursors, so pages stay complete while rows are added.
package admin
