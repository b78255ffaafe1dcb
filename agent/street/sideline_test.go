package street

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// What the configuration of TestSoak says of the sensors beside the plant.
const (
	silentAfter = 8 * time.Second  // longer than a broker's restart with all that it entails
	lossLasts   = 14 * time.Second // long enough for the alarm on a machine that has other things to do
	outside     = 15.0             // a reading beyond high
)

// sensor is one channel that says the same five times a second, until it is
// lost. Its topic ends with its machine's name, its channel with ".v".
type sensor struct {
	plant  *plant // where its anomalies are noted
	topic  string
	name   string
	value  atomic.Int64
	losses chan bool // true: its connection goes with it
	sent   atomic.Int64
	resent atomic.Int64
}

func newSensor(p *plant, topic, name string, value int64) *sensor {
	x := &sensor{plant: p, topic: topic + "/" + name, name: name, losses: make(chan bool, 1)}
	x.value.Store(value)
	return x
}

// expect notes that the sensor's channel is to be raised within a time.
func (x *sensor) expect(severity string, from time.Time, within time.Duration) *anomaly {
	a := &anomaly{machine: x.name, channel: x.name + ".v", severity: severity, from: from.Truncate(time.Millisecond), to: from.Add(within), sent: from, taken: from}
	x.plant.note(a)
	return a
}

func (x *sensor) run(ctx context.Context) error {
	mail, err := newCourier(x.plant.broker, x.name+"-"+x.plant.root)
	if err != nil {
		return err
	}
	defer func() { x.resent.Store(int64(mail.resent)) }()
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return mail.close()
		case cut := <-x.losses:
			x.expect("low", last, lossLasts)
			if err := x.lose(ctx, mail, cut); err != nil {
				return err
			}
		case <-every.C:
			last = time.Now()
			if err := mail.publish(x.topic, fmt.Sprintf(`{"t":%d,"v":%d}`, last.UnixMilli(), x.value.Load()), nil); err != nil {
				return err
			}
			x.sent.Add(1)
		}
	}
}

// lose says nothing for a while.
func (x *sensor) lose(ctx context.Context, mail *courier, cut bool) error {
	if cut {
		if err := mail.close(); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(lossLasts):
	}
	if cut {
		return mail.connect()
	}
	return nil
}

const looseMachines = 20

// loose publishes noise at QoS 0 for its machines, ten times a second each, and
// returns how many messages that were. What the broker was not there for is lost.
func loose(ctx context.Context, broker, root string) (sent int, err error) {
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetClientID("loose-" + root).SetMaxReconnectInterval(time.Second))
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return 0, t.Error()
	}
	defer client.Disconnect(250)
	random := rand.New(rand.NewPCG(2, 7))
	for every := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			every.Stop()
			return sent, nil
		case <-every.C:
		}
		for m := range looseMachines {
			client.Publish(fmt.Sprintf("%s-q/q%d", root, m+1), 0, false, strconv.FormatFloat(50+random.NormFloat64(), 'f', 3, 64))
			sent++
		}
	}
}

// The columns of the file, all of machine line.
const (
	fileColumns = 4
	fileHeader  = "time,c00,c01,c02,c03\n"
	fileRotates = 7 * time.Second
)

// logbook writes 50 rows a second into a CSV file that is rotated as logs are,
// with an excursion of its first column now and then, and returns how many
// readings that were.
func logbook(ctx context.Context, p *plant, path string) (written int, err error) {
	var file *os.File
	rotate := func() error {
		if file != nil {
			if err := file.Close(); err != nil {
				return err
			}
			if err := os.Rename(path, path+".1"); err != nil {
				return err
			}
		}
		if file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return err
		}
		return headed(file)
	}
	if err := rotate(); err != nil {
		return 0, err
	}
	defer func() { file.Close() }()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	rotated := time.Now()
	var a *anomaly
	for row := 1; ; row++ {
		at, v := <-every.C, normal
		over := ctx.Err() != nil
		switch out := row % 250; {
		case out >= 240 && !over: // 0.2 s of every 5 s
			if v = high + excess; a == nil {
				a = &anomaly{machine: "line", channel: "line.c00", severity: "high", sent: at, taken: at}
				p.note(a)
			}
			p.extend(a, at.Truncate(time.Millisecond))
		default:
			a = nil
		}
		if _, err := fmt.Fprintf(file, "%d,%g,1,2,3\n", at.UnixMilli(), v); err != nil {
			return written, err
		}
		written += fileColumns
		if over {
			return written, nil
		}
		if time.Since(rotated) > fileRotates {
			rotated = time.Now()
			if err := rotate(); err != nil {
				return written, err
			}
		}
	}
}

// headed gives a new file its header.
func headed(f *os.File) error {
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		_, err = f.WriteString(fileHeader)
	}
	return err
}

// garbage is what a mad device may publish where a number should be, and why it
// is refused.
var garbage = []struct{ payload, reason string }{
	{"", "malformed"}, {"abc", "malformed"}, {"{\"v\":", "malformed"}, {"0x1p-2", "malformed"}, {"\xff\xfe\x00", "malformed"},
	{"NaN", "not_finite"}, {"-inf", "not_finite"}, {"1e999", "not_finite"},
	{strings.Repeat("9", 70<<10), "too_large"},
}

// rave publishes garbage n times.
func rave(broker, root string, n int) error {
	mail, err := newCourier(broker, "odd-"+root)
	if err != nil {
		return err
	}
	for range n {
		for _, g := range garbage {
			if err := mail.publish(root+"-odd/odd", g.payload, nil); err != nil {
				return err
			}
		}
	}
	if mail.resent > 0 {
		return fmt.Errorf("the garbage's own connection broke: its count means nothing")
	}
	return mail.close()
}
