package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// A bad row is one of the first N like any other: learning does not go on into
// rows that nobody called normal.
func TestBadRowsAreAmongTheTrained(t *testing.T) {
	const rows = 600
	var in strings.Builder
	in.WriteString("time,a\n")
	r := rand.New(rand.NewPCG(1, 1))
	for i := range rows {
		if i%40 == 39 {
			fmt.Fprintf(&in, "%d,oops\n", i)
			continue
		}
		fmt.Fprintf(&in, "%d,%.3f\n", i, 10+r.NormFloat64())
	}
	fmt.Fprintf(&in, "%d,60\n", rows)
	for n, anomalous := range map[int]bool{rows: true, rows + 1: false} {
		var out, errors bytes.Buffer
		if code := Main([]string{"score", "--train-rows", fmt.Sprint(n)}, IO{strings.NewReader(in.String()), &out, &errors}); code != exitOK {
			t.Fatalf("exit %d: %s", code, &errors)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != rows+2 {
			t.Fatalf("%d lines, want one for the header and one a row", len(lines))
		}
		if last := lines[rows+1]; strings.HasSuffix(last, ",1,0,a") != anomalous {
			t.Errorf("--train-rows %d: the row after 600 is %q", n, last)
		}
	}
}

// Over a pipe, the score of a row is there before the next row is written.
func TestScoreInLockstep(t *testing.T) {
	fromTest, rows := io.Pipe()
	scores, toTest := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Main([]string{"score"}, IO{fromTest, toTest, io.Discard})
		_ = toTest.Close()
	}()
	answers := bufio.NewScanner(scores)
	for _, step := range []struct{ row, want string }{
		{"time,a\n", "time,score,anomaly,change,top"},
		{"1,10\n", "1,0,0,0,a"},
		{"2,\n", "2,0,0,0,bad"},
		{"2,10\r\n", "2,0,0,0,a"},
		{"1,10\n", "1,0,0,0,a"},
	} {
		if _, err := io.WriteString(rows, step.row); err != nil {
			t.Fatal(err)
		}
		if !answers.Scan() || answers.Text() != step.want {
			t.Fatalf("to %q the answer is %q, want %q", step.row, answers.Text(), step.want)
		}
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != exitOK || answers.Scan() {
		t.Errorf("exit %d and %q in the end", got, answers.Text())
	}
}
