// Measures etcd's own Go recipes (clientv3/concurrency and contrib/recipes) on a
// running cluster, with the workloads of `etcd-recipes bench`.
//
//	peer [flags] RUN
//
// It prints one JSON object. scripts/bench-go builds it and runs it in turns with
// `etcd-recipes bench`; see there for what it needs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	recipe "go.etcd.io/etcd/contrib/recipes"
)

var (
	endpoints = flag.String("endpoints", "127.0.0.1:2379", "client addresses, comma separated")
	workers   = flag.Int("workers", 10, "contenders, consumers, participants or waiters")
	producers = flag.Int("producers", 1, "producers of a queue")
	count     = flag.Int("n", 1000, "operations in all; for transactions, of each worker")
	limit     = flag.Duration("timeout", 60*time.Second, "give up after this long")
)

const (
	ttl      = 30  // seconds
	readers  = 0.9 // share of read acquisitions
	accounts = 5
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go peer:", err)
		os.Exit(1)
	}
}

// dial makes a connection that has already been used.
func dial() *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   rotated(),
		DialTimeout: 5 * time.Second,
	})
	check(err)
	_, err = c.Get(context.Background(), prefix+"/warm")
	check(err)
	return c
}

var dialled int

// rotated begins at another endpoint each time, so that members share the load.
func rotated() []string {
	eps := strings.Split(*endpoints, ",")
	at := dialled % len(eps)
	dialled++
	return append(append([]string{}, eps[at:]...), eps[:at]...)
}

func clients(n int) []*clientv3.Client {
	var all []*clientv3.Client
	for i := 0; i < n; i++ {
		all = append(all, dial())
	}
	return all
}

func sessions(n int) []*concurrency.Session {
	var all []*concurrency.Session
	for _, c := range clients(n) {
		s, err := concurrency.NewSession(c, concurrency.WithTTL(ttl))
		check(err)
		all = append(all, s)
	}
	return all
}

// each runs body on n goroutines and waits for all of them.
func each(n int, body func(i int)) {
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(i int) { defer wg.Done(); body(i) }(i)
	}
	wg.Wait()
}

// share hands out the numbers from 0 up to n, each once.
type share struct{ next, n int64 }

func (s *share) take() (int, bool) {
	t := atomic.AddInt64(&s.next, 1) - 1
	return int(t), t < s.n
}

// latency gathers durations.
type latency struct {
	mu sync.Mutex
	ds []time.Duration
}

func (l *latency) add(d time.Duration) { l.mu.Lock(); l.ds = append(l.ds, d); l.mu.Unlock() }

func (l *latency) into(name string) {
	if len(l.ds) == 0 {
		return
	}
	sort.Slice(l.ds, func(a, b int) bool { return l.ds[a] < l.ds[b] })
	at := func(q float64) float64 { return float64(l.ds[int(q*float64(len(l.ds)-1))]) / 1e6 }
	latencies[name] = map[string]float64{
		"p50_ms": at(.5), "p90_ms": at(.9), "p99_ms": at(.99), "max_ms": at(1),
	}
}

var (
	out       = map[string]interface{}{}
	latencies = map[string]map[string]float64{}
	prefix    string
)

// timed measures ops operations done by body.
func timed(ops int, body func()) {
	start := time.Now()
	body()
	seconds := time.Since(start).Seconds()
	out["operations"] = ops
	out["seconds"] = seconds
	out["per_second"] = float64(ops) / seconds
}

func rawPut() {
	f := clients(*workers)
	ctx := context.Background()
	value := strings.Repeat("x", 64)
	var l latency
	s := share{n: int64(*count)}
	timed(*count, func() {
		each(*workers, func(w int) {
			for i, ok := s.take(); ok; i, ok = s.take() {
				start := time.Now()
				_, err := f[w].Put(ctx, fmt.Sprintf("%s/%08d", prefix, i), value)
				check(err)
				l.add(time.Since(start))
			}
		})
	})
	l.into("put")
}

// queues runs a queue: producers and consumers at once.
func queues(enqueue func(c *clientv3.Client) func(string) error, dequeue func(c *clientv3.Client) func() (string, error)) {
	consumers, givers := clients(*workers), clients(*producers)
	begun := make([]time.Time, *count)
	seen := make([]int32, *count)
	var call, whole latency
	var got int64
	s := share{n: int64(*count)}
	done := make(chan struct{})
	timed(*count, func() {
		for w := 0; w < *workers; w++ {
			go func(w int) {
				take := dequeue(consumers[w])
				for {
					start := time.Now()
					v, err := take()
					check(err)
					if v == "stop" {
						return
					}
					now := time.Now()
					i, err := strconv.Atoi(v)
					check(err)
					if atomic.AddInt32(&seen[i], 1) > 1 {
						check(fmt.Errorf("item %d came twice", i))
					}
					call.add(now.Sub(start))
					whole.add(now.Sub(begun[i]))
					if atomic.AddInt64(&got, 1) == int64(*count) {
						close(done)
					}
				}
			}(w)
		}
		each(*producers, func(p int) {
			put := enqueue(givers[p])
			for i, ok := s.take(); ok; i, ok = s.take() {
				begun[i] = time.Now()
				check(put(strconv.Itoa(i)))
			}
		})
		<-done
	})
	put := enqueue(givers[0])
	for w := 0; w < *workers; w++ {
		check(put("stop"))
	}
	call.into("dequeue")
	whole.into("through the queue")
}

func queue() {
	queues(func(c *clientv3.Client) func(string) error { return recipe.NewQueue(c, prefix).Enqueue },
		func(c *clientv3.Client) func() (string, error) { return recipe.NewQueue(c, prefix).Dequeue })
}

func priorityQueue() {
	queues(func(c *clientv3.Client) func(string) error {
		q := recipe.NewPriorityQueue(c, prefix)
		return func(v string) error { return q.Enqueue(v, uint16(rand.Intn(10))) }
	}, func(c *clientv3.Client) func() (string, error) { return recipe.NewPriorityQueue(c, prefix).Dequeue })
}

// contend: acquisitions by workers that want the same thing all the time.
func contend(acquire func(s *concurrency.Session) (lock func() (exclusive bool, err error), unlock func() error)) {
	ss := sessions(*workers)
	var wait, handover latency
	var inside, freed int64
	s := share{n: int64(*count)}
	timed(*count, func() {
		each(*workers, func(w int) {
			lock, unlock := acquire(ss[w])
			for _, ok := s.take(); ok; _, ok = s.take() {
				start := time.Now()
				exclusive, err := lock()
				check(err)
				now := time.Now()
				wait.add(now.Sub(start))
				if at := atomic.LoadInt64(&freed); at != 0 {
					handover.add(time.Duration(now.UnixNano() - at))
				}
				mine, ceiling := int64(1), int64(1000000)
				if exclusive {
					mine, ceiling = 1000000, 1000001
				}
				if atomic.AddInt64(&inside, mine) >= ceiling {
					check(fmt.Errorf("not alone"))
				}
				atomic.StoreInt64(&freed, time.Now().UnixNano())
				atomic.AddInt64(&inside, -mine)
				check(unlock())
			}
		})
	})
	wait.into("acquire")
	handover.into("release to next")
}

func mutex() {
	contend(func(s *concurrency.Session) (func() (bool, error), func() error) {
		m := concurrency.NewMutex(s, prefix)
		ctx := context.Background()
		return func() (bool, error) { return true, m.Lock(ctx) }, func() error { return m.Unlock(ctx) }
	})
}

func rwlock() {
	contend(func(s *concurrency.Session) (func() (bool, error), func() error) {
		m := recipe.NewRWMutex(s, prefix)
		return func() (bool, error) {
			if rand.Float64() < readers {
				return false, m.RLock()
			}
			return true, m.Lock()
		}, m.Unlock
	})
}

func election() {
	contend(func(s *concurrency.Session) (func() (bool, error), func() error) {
		e := concurrency.NewElection(s, prefix)
		ctx := context.Background()
		return func() (bool, error) { return true, e.Campaign(ctx, "me") }, func() error { return e.Resign(ctx) }
	})
}

func stm(prefetch bool) {
	ctx := context.Background()
	f := clients(*workers)
	name := func(i int) string { return fmt.Sprintf("%s/account/%d", prefix, i) }
	for i := 0; i < accounts; i++ {
		_, err := f[0].Put(ctx, name(i), "1000")
		check(err)
	}
	var tries int64
	var l latency
	total := *workers * *count
	timed(total, func() {
		each(*workers, func(w int) {
			r := rand.New(rand.NewSource(int64(w)))
			for i := 0; i < *count; i++ {
				a := r.Intn(accounts)
				b := (a + 1 + r.Intn(accounts-1)) % accounts
				from, to := name(a), name(b)
				start := time.Now()
				move := func(s concurrency.STM) error {
					atomic.AddInt64(&tries, 1)
					x, err := strconv.Atoi(s.Get(from))
					if err != nil {
						return err
					}
					y, err := strconv.Atoi(s.Get(to))
					if err != nil {
						return err
					}
					s.Put(from, strconv.Itoa(x-x/2))
					s.Put(to, strconv.Itoa(y+x/2))
					return nil
				}
				// A member that lags behind the base of a snapshot refuses, and the Go
				// recipe hands that to its caller: who wants his transfer tries again.
				for {
					var err error
					if prefetch {
						_, err = concurrency.NewSTM(f[w], move, concurrency.WithPrefetch(from, to))
					} else {
						_, err = concurrency.NewSTM(f[w], move)
					}
					if err == nil || !strings.Contains(err.Error(), "future revision") {
						check(err)
						break
					}
				}
				l.add(time.Since(start))
			}
		})
	})
	sum := 0
	for i := 0; i < accounts; i++ {
		r, err := f[0].Get(ctx, name(i))
		check(err)
		v, err := strconv.Atoi(string(r.Kvs[0].Value))
		check(err)
		sum += v
	}
	if sum != 1000*accounts {
		check(fmt.Errorf("the accounts hold %d in all", sum))
	}
	out["tries_per_operation"] = float64(tries) / float64(total)
	l.into("transaction")
}

// barrier: from Release to the last wake, n times over.
func barrier() {
	f := clients(*workers)
	var last latency
	timed(*count, func() {
		for r := 0; r < *count; r++ {
			key := fmt.Sprintf("%s/%d/barrier", prefix, r)
			owner := recipe.NewBarrier(f[0], key)
			check(owner.Hold())
			var wg sync.WaitGroup
			wg.Add(*workers)
			for w := 0; w < *workers; w++ {
				go func(w int) { defer wg.Done(); check(recipe.NewBarrier(f[w], key).Wait()) }(w)
			}
			time.Sleep(100 * time.Millisecond) // every waiter gets to its watch
			start := time.Now()
			check(owner.Release())
			wg.Wait()
			last.add(time.Since(start))
		}
	})
	last.into("release to last wake")
}

// doubleBarrier: every round has a key of its own.
func doubleBarrier() {
	ss := sessions(*workers)
	var enter, leave latency
	timed(*count, func() {
		each(*workers, func(w int) {
			for r := 0; r < *count; r++ {
				b := recipe.NewDoubleBarrier(ss[w], fmt.Sprintf("%s/%d/double", prefix, r), *workers)
				start := time.Now()
				check(b.Enter())
				enter.add(time.Since(start))
				start = time.Now()
				check(b.Leave())
				leave.add(time.Since(start))
			}
		})
	})
	enter.into("enter")
	leave.into("leave")
}

func main() {
	flag.Parse()
	runs := map[string]func(){
		"raw-put": rawPut, "queue": queue, "priority-queue": priorityQueue,
		"mutex": mutex, "rwlock": rwlock, "election": election,
		"stm": func() { stm(false) }, "stm-prefetch": func() { stm(true) },
		"barrier": barrier, "double-barrier": doubleBarrier,
	}
	run, ok := runs[flag.Arg(0)]
	if !ok {
		fmt.Fprintln(os.Stderr, "go peer: which run?")
		flag.Usage()
		os.Exit(2)
	}
	rand.Seed(time.Now().UnixNano())
	prefix = fmt.Sprintf("go-bench/%d", time.Now().UnixNano())
	done := make(chan struct{})
	go func() { run(); close(done) }()
	select {
	case <-done:
	case <-time.After(*limit):
		check(fmt.Errorf("%s is not done within %s", flag.Arg(0), *limit))
	}
	c := dial()
	for _, below := range []string{prefix + "/", "__" + prefix + "/"} {
		_, err := c.Delete(context.Background(), below, clientv3.WithPrefix())
		check(err)
	}
	out["benchmark"] = flag.Arg(0)
	out["latencies"] = latencies
	line, err := json.Marshal(out)
	check(err)
	fmt.Println(string(line))
}
