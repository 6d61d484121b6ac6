// One of etcd's own Go recipes by hand: reads commands line by line, as
// `etcd-recipes shell` does, and prints one line for each. scripts/test-go has
// such a process and a shell share one recipe.
//
//	recipes -endpoints HOST:PORT RECIPE NAME [COUNT]
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	recipe "go.etcd.io/etcd/contrib/recipes"
)

var (
	endpoints = flag.String("endpoints", "127.0.0.1:2379", "client addresses, comma separated")
	ttl       = flag.Int("ttl", 10, "time to live of the session, in seconds")
)

var ctx = context.Background()

// commands of a recipe: each gets its arguments and returns the line to print.
type commands map[string]func(args []string) (string, error)

// done is a command without arguments that prints the same each time.
func done(say string, do func() error) func([]string) (string, error) {
	return func([]string) (string, error) { return say, do() }
}

func queue(c *clientv3.Client, name string) commands {
	q := recipe.NewQueue(c, name)
	return commands{
		"push": func(a []string) (string, error) { return "pushed", q.Enqueue(a[0]) },
		"pop":  func([]string) (string, error) { return q.Dequeue() },
	}
}

func priorityQueue(c *clientv3.Client, name string) commands {
	q := recipe.NewPriorityQueue(c, name)
	return commands{
		"push": func(a []string) (string, error) {
			priority, err := strconv.ParseUint(a[1], 10, 16)
			if err != nil {
				return "", err
			}
			return "pushed", q.Enqueue(a[0], uint16(priority))
		},
		"pop": func([]string) (string, error) { return q.Dequeue() },
	}
}

func lock(s *concurrency.Session, name string) commands {
	m := concurrency.NewMutex(s, name)
	return commands{
		"lock":   done("locked", func() error { return m.Lock(ctx) }),
		"unlock": done("unlocked", func() error { return m.Unlock(ctx) }),
	}
}

func rwlock(s *concurrency.Session, name string) commands {
	m := recipe.NewRWMutex(s, name)
	return commands{
		"rlock":  done("locked for reading", m.RLock),
		"wlock":  done("locked for writing", m.Lock),
		"unlock": done("unlocked", m.Unlock),
	}
}

func election(s *concurrency.Session, name string) commands {
	e := concurrency.NewElection(s, name)
	return commands{
		"campaign": func(a []string) (string, error) { return "elected", e.Campaign(ctx, a[0]) },
		"proclaim": func(a []string) (string, error) { return "proclaimed", e.Proclaim(ctx, a[0]) },
		"resign":   done("resigned", func() error { return e.Resign(ctx) }),
		"leader": func([]string) (string, error) {
			r, err := e.Leader(ctx)
			if err != nil {
				return "", err
			}
			return string(r.Kvs[0].Value), nil
		},
		"rev": func([]string) (string, error) { return strconv.FormatInt(e.Rev(), 10), nil },
		// The value of the next leader that is not the one named.
		"observe": func(a []string) (string, error) {
			observing, stop := context.WithCancel(ctx)
			defer stop()
			for r := range e.Observe(observing) {
				if v := string(r.Kvs[0].Value); len(a) == 0 || v != a[0] {
					return v, nil
				}
			}
			return "", fmt.Errorf("the observation ended")
		},
	}
}

func barrier(c *clientv3.Client, name string) commands {
	b := recipe.NewBarrier(c, name)
	return commands{
		"hold":    done("held", b.Hold),
		"release": done("released", b.Release),
		"wait":    done("passed", b.Wait),
	}
}

func doubleBarrier(s *concurrency.Session, name string, count int) commands {
	b := recipe.NewDoubleBarrier(s, name, count)
	return commands{
		"enter": done("entered", b.Enter),
		"leave": done("left", b.Leave),
	}
}

func stm(c *clientv3.Client) commands {
	return commands{
		"transfer": func(a []string) (string, error) {
			amount, err := strconv.Atoi(a[2])
			if err != nil {
				return "", err
			}
			_, err = concurrency.NewSTM(c, func(s concurrency.STM) error {
				from, err := strconv.Atoi(s.Get(a[0]))
				if err != nil {
					return err
				}
				to, err := strconv.Atoi(s.Get(a[1]))
				if err != nil {
					return err
				}
				s.Put(a[0], strconv.Itoa(from-amount))
				s.Put(a[1], strconv.Itoa(to+amount))
				return nil
			})
			return "transferred", err
		},
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go recipes:", err)
		os.Exit(1)
	}
}

func main() {
	flag.Parse()
	if flag.NArg() < 2 {
		check(fmt.Errorf("which recipe, and which name?"))
	}
	kind, name := flag.Arg(0), flag.Arg(1)
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   strings.Split(*endpoints, ","),
		DialTimeout: 5 * time.Second,
	})
	check(err)
	s, err := concurrency.NewSession(c, concurrency.WithTTL(*ttl))
	check(err)
	var known commands
	switch kind {
	case "queue":
		known = queue(c, name)
	case "priority-queue":
		known = priorityQueue(c, name)
	case "lock":
		known = lock(s, name)
	case "rwlock":
		known = rwlock(s, name)
	case "election":
		known = election(s, name)
	case "barrier":
		known = barrier(c, name)
	case "double-barrier":
		count, err := strconv.Atoi(flag.Arg(2))
		check(err)
		known = doubleBarrier(s, name, count)
	case "stm":
		known = stm(c)
	default:
		check(fmt.Errorf("there is no recipe %s", kind))
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		do, ok := known[words[0]]
		if !ok {
			check(fmt.Errorf("there is no command %s", words[0]))
		}
		say, err := do(words[1:])
		check(err)
		fmt.Println(say)
	}
	check(lines.Err())
	check(s.Close())
}
