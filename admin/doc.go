// Package admin serves what a hourbell Scheduler knows and can do over HTTP: a JSON API, and its OpenAPI document.
//
// [New] makes one handler, which a host mounts on its own router under any prefix:
//
//	handler, err := admin.New(scheduler, admin.Config{Authorize: authorize})
//	mux.Handle("/admin/schedules/", http.StripPrefix("/admin/schedules", handler))
//
// Instants in answers are RFC 3339 in UTC, and null where there is none. Errors are problem documents (RFC 9457) which
// name what was wrong and say what to do. Lists come in pages that go on behind a cursor, and stay complete while rows
// are added.
package admin
