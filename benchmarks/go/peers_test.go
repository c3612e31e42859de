// Package peers measures the Go libraries that a controller in Go would use for what fastcore's primitives do.
// Each loop does the same work as the Python benchmark of the same name.
package peers

import (
	"strconv"
	"sync"
	"testing"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
	"k8s.io/client-go/util/workqueue"
)

const entries = 1000

func keys(n int) []string {
	result := make([]string, n)
	for i := range result {
		result[i] = "key-" + strconv.Itoa(i)
	}
	return result
}

func BenchmarkLRUGetHit(b *testing.B) {
	cache, _ := lru.New[string, int](entries)
	ks := keys(entries)
	for i, k := range ks {
		cache.Add(k, i)
	}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		cache.Get(ks[i%entries])
	}
}

func BenchmarkLRUSetEvict(b *testing.B) {
	cache, _ := lru.New[string, int](entries)
	ks := keys(16 * entries)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		cache.Add(ks[i%len(ks)], i)
	}
}

func BenchmarkTTLGetHit(b *testing.B) {
	cache := expirable.NewLRU[string, int](entries, nil, time.Hour)
	ks := keys(entries)
	for i, k := range ks {
		cache.Add(k, i)
	}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		cache.Get(ks[i%entries])
	}
}

func BenchmarkTokenBucketAllow(b *testing.B) {
	limiter := rate.NewLimiter(1e9, 1<<30)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		limiter.Allow()
	}
}

func BenchmarkBreakerNoop(b *testing.B) {
	breaker := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Name: "noop"})
	noop := func() (int, error) { return 0, nil }
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		_, _ = breaker.Execute(noop)
	}
}

func BenchmarkPoolTurn(b *testing.B) {
	pool := sync.Pool{New: func() any { return new([1024]byte) }}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		pool.Put(pool.Get())
	}
}

func BenchmarkQueueTurn(b *testing.B) {
	queue := workqueue.NewTyped[string]()
	defer queue.ShutDown()
	ks := keys(entries)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		queue.Add(ks[i%entries])
		key, _ := queue.Get()
		queue.Done(key)
	}
}
