package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"log/slog"
	"net/http"
)

// user is somebody with a password.
type user struct {
	name, password string
	admin          bool
}

// usersFrom are the users, with passwords from the environment, or new ones that the log names.
func usersFrom(env func(string) string, log *slog.Logger) []user {
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

// currentUser is who sent a request; nil for nobody.
func currentUser(r *http.Request) *user {
	u, _ := r.Context().Value(userKey{}).(*user)
	return u
}

// identified finds out who sends a request, if anybody does.
func (b *backend) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		for i := range b.users {
			if u := &b.users[i]; u.name == name && subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) == 1 {
				r = r.WithContext(context.WithValue(r.Context(), userKey{}, u))
			}
		}
		if currentUser(r) == nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="backend"`) // a browser asks its user, where the answer is a 401
		}
		next.ServeHTTP(w, r)
	})
}

// admins lets only those pass who run the shop.
func admins(next http.HandlerFunc) http.HandlerFunc {
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
