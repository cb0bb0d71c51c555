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

// backend is what the handlers share.
type backend struct {
	db        *gorm.DB
	log       *slog.Logger
	users     []user
	scheduler *hourbell.Scheduler // hourbell: to enqueue with.
}

// routes is the backend's router.
func (b *backend) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", admins(b.placeOrder))
	mux.HandleFunc("GET /invoices", admins(b.listInvoices))

	// hourbell: its page and API, behind the backend's own users.
	schedules, err := admin.New(b.scheduler, admin.Config{Authorize: mayDo, Logger: b.log})
	if err != nil {
		return nil, err
	}
	mux.Handle("/admin/schedules/", http.StripPrefix("/admin/schedules", schedules))

	return b.logged(b.identified(mux)), nil
}

// hourbell: everybody who is logged in may look, admins may act, and a load balancer may probe.
func mayDo(r *http.Request, action admin.Action) (string, error) {
	switch u := currentUser(r); {
	case action.Verb == admin.Probe:
		return "", nil
	case u == nil:
		return "", admin.ErrUnauthenticated
	case action.Verb.Writes() && !u.admin:
		return "", fmt.Errorf("%s may look at schedules, and not change them", u.name)
	default:
		return u.name, nil
	}
}

var errCredit = errors.New("the customer's credit does not cover the order")

// placeOrder stores an order. What goes wrong undoes all of it.
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

		// hourbell: the invoice is enqueued if, and only if, the order is placed.
		if _, err := b.scheduler.EnqueueJob(r.Context(), "create-invoice", hourbell.EnqueueOptions{
			By: hourbell.By{Actor: currentUser(r).name}, Tx: tx, Args: invoiceArgs{Order: order.ID},
		}); err != nil {
			return err
		}

		var owed int
		if err := tx.Model(&Order{}).Where("customer_id = ?", customer.ID).Select("sum(amount)").Scan(&owed).Error; err != nil {
			return err
		}
		if owed > customer.Credit {
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
		b.answer(w, http.StatusCreated, order)
	}
}

func (b *backend) listInvoices(w http.ResponseWriter, r *http.Request) {
	invoices := []Invoice{}
	if err := b.db.WithContext(r.Context()).Order("id").Find(&invoices).Error; err != nil {
		b.fail(w, err)
		return
	}
	b.answer(w, http.StatusOK, invoices)
}

func (b *backend) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // to whom it may still concern
}

func (b *backend) fail(w http.ResponseWriter, err error) {
	b.log.Error("request failed", "error", err)
	http.Error(w, "something went wrong", http.StatusInternalServerError)
}

// logged logs every request.
func (b *backend) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		next.ServeHTTP(w, r)
		b.log.Info("request", "method", r.Method, "path", r.URL.Path, "took", time.Since(began).Round(time.Millisecond))
	})
}
