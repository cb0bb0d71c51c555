// Package admin serves what a hourbell Scheduler knows and can do over HTTP: a page for people, the JSON API that it is
// built on, and the API's OpenAPI document.
//
// [New] makes one handler, which a host mounts on its own router under any prefix:
//
//	handler, err := admin.New(scheduler, admin.Config{Authorize: authorize})
//	mux.Handle("/admin/schedules/", http.StripPrefix("/admin/schedules", handler))
//
// The page is at the handler's root, and works without JavaScript. To offer a person only what they may do, it asks
// Config.Authorize about each control that it shows, with the request for the page: some fifty times for a full list.
// Let that be quick.
//
// Instants in answers are RFC 3339 in UTC, and null where there is none. Errors are problem documents (RFC 9457) which
// name what was wrong and say what to do. Lists come in pages that go on behind a cursor, and stay complete while rows
// are added.
package admin
