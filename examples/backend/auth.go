package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"log/slog"
	"net/http"
)

// user is a user with a password.
type user struct {
	name, password string
	admin          bool
}

// loadUsers returns the users. It reads their passwords from the environment
// and generates and logs the missing ones.
func loadUsers(env func(string) string, log *slog.Logger) []user {
	users := []user{{"ada", env("ADA_PASSWORD"), true}, {"bob", env("BOB_PASSWORD"), false}}
	for i := range users {
		if users[i].password == "" {
			users[i].password = rand.Text()
			log.Info("user", "name", users[i].name, "password", users[i].password)
		}
	}
	return users
}

type userKey struct{}

// currentUser returns the user of a request, or nil if the request has no
// valid credentials.
func currentUser(r *http.Request) *user {
	u, _ := r.Context().Value(userKey{}).(*user)
	return u
}

// authenticate adds the user to the context of each request with valid
// credentials.
func (b *backend) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		for i := range b.users {
			if u := &b.users[i]; u.name == name && subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) == 1 {
				r = r.WithContext(context.WithValue(r.Context(), userKey{}, u))
			}
		}
		if currentUser(r) == nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="backend"`) // makes a browser prompt on a 401
		}
		next.ServeHTTP(w, r)
	})
}

// requireAdmin rejects requests of users without administrator rights.
func requireAdmin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch u := currentUser(r); {
		case u == nil:
			http.Error(w, "log in", http.StatusUnauthorized)
		case !u.admin:
			http.Error(w, u.name+" may not do this", http.StatusForbidden)
		default:
			next(w, r)
		}
	}
}
