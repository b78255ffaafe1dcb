//go:build !race

package street

const raced = false
