package main

import (
	"context"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

// Customer is a customer. The sum of their orders is limited by Credit.
type Customer struct {
	ID     uint
	Name   string
	Credit int // in whole euros
}

// Order is an order of a customer.
type Order struct {
	ID         uint      `json:"id"`
	CustomerID uint      `json:"customer"`
	Amount     int       `json:"amount"`
	PlacedAt   time.Time `json:"placedAt"`
}

// Invoice is the invoice of an order. The unique index allows one for each.
type Invoice struct {
	ID         uint       `json:"id"`
	OrderID    uint       `json:"order" gorm:"uniqueIndex"`
	Amount     int        `json:"amount"`
	DueAt      time.Time  `json:"dueAt"`
	RemindedAt *time.Time `json:"remindedAt"`
}

// openDatabase opens the Postgres database at url, or a SQLite file.
func openDatabase(url string) (*gorm.DB, error) {
	config := &gorm.Config{Logger: logger.Default.LogMode(logger.Silent)}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		return gorm.Open(postgres.Open(url), config)
	}
	return gorm.Open(sqlite.Open("backend.db?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"), config)
}

// addCustomers adds the shop's two customers if they are missing.
func addCustomers(ctx context.Context, db *gorm.DB) error {
	customers := []Customer{{ID: 1, Name: "Corner shop", Credit: 1000}, {ID: 2, Name: "Kiosk", Credit: 100}}
	return db.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&customers).Error
}
