package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
)

// backend holds the dependencies of the handlers.
type backend struct {
	db        *gorm.DB
	log       *slog.Logger
	users     []user
	scheduler *hourbell.Scheduler // hourbell: enqueues the invoices.
}

// routes returns the backend's router.
func (b *backend) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", requireAdmin(b.placeOrder))
	mux.HandleFunc("GET /invoices", requireAdmin(b.listInvoices))

	// hourbell: mount its page and API with the backend's own authorization.
	schedules, err := admin.New(b.scheduler, admin.Config{Authorize: authorizeSchedules, Logger: b.log})
	if err != nil {
		return nil, err
	}
	mux.Handle("/admin/schedules/", http.StripPrefix("/admin/schedules", schedules))

	return b.logRequests(b.authenticate(mux)), nil
}

// hourbell: users may read, administrators may write, probes need no user.
func authorizeSchedules(r *http.Request, action admin.Action) (string, error) {
	switch u := currentUser(r); {
	case action.Verb == admin.Probe:
		return "", nil
	case u == nil:
		return "", admin.ErrUnauthenticated
	case action.Verb.Writes() && !u.admin:
		return "", fmt.Errorf("%s may read schedules but not change them", u.name)
	default:
		return u.name, nil
	}
}

var errCredit = errors.New("the customer's credit does not cover the order")

// placeOrder stores an order and enqueues its invoice in one transaction.
func (b *backend) placeOrder(w http.ResponseWriter, r *http.Request) {
	order := Order{PlacedAt: time.Now()}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&order); err != nil || order.ID != 0 || order.Amount <= 0 {
		http.Error(w, `send {"customer": 1, "amount": 120}`, http.StatusBadRequest)
		return
	}
	err := b.db.WithContext(r.Context()).Transaction(func(tx *gorm.DB) error {
		var customer Customer
		if err := tx.First(&customer, order.CustomerID).Error; err != nil {
			return err
		}
		if err := tx.Create(&order).Error; err != nil {
			return err
		}

		// hourbell: enqueue the invoice in the transaction of the order.
		if _, err := b.scheduler.EnqueueJob(r.Context(), "create-invoice", hourbell.EnqueueOptions{
			Actor: currentUser(r).name, Tx: tx, Args: invoiceArgs{Order: order.ID},
		}); err != nil {
			return err
		}

		var total int
		if err := tx.Model(&Order{}).Where("customer_id = ?", customer.ID).Select("sum(amount)").Scan(&total).Error; err != nil {
			return err
		}
		if total > customer.Credit {
			return errCredit
		}
		return nil
	})
	switch {
	case errors.Is(err, errCredit):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, gorm.ErrRecordNotFound):
		http.Error(w, "unknown customer", http.StatusNotFound)
	case err != nil:
		b.fail(w, err)
	default:
		b.respond(w, http.StatusCreated, order)
	}
}

// listInvoices returns all invoices.
func (b *backend) listInvoices(w http.ResponseWriter, r *http.Request) {
	invoices := []Invoice{}
	if err := b.db.WithContext(r.Context()).Order("id").Find(&invoices).Error; err != nil {
		b.fail(w, err)
		return
	}
	b.respond(w, http.StatusOK, invoices)
}

func (b *backend) respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client is gone
}

func (b *backend) fail(w http.ResponseWriter, err error) {
	b.log.Error("request failed", "error", err)
	http.Error(w, "something went wrong", http.StatusInternalServerError)
}

// logRequests logs every request.
func (b *backend) logRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		next.ServeHTTP(w, r)
		b.log.Info("request", "method", r.Method, "path", r.URL.Path, "took", time.Since(start).Round(time.Millisecond))
	})
}
