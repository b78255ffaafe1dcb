package sensors

import "errors"

// ErrClosed is what Put, Room and Register return after the Queue or the Writer
// was closed.
var ErrClosed = errors.New("the queue is closed")

// ErrTooManyChannels is what Writer.Register returns when the street is full.
var ErrTooManyChannels = errors.New("no room for another channel")

// ErrUnknownUnit is what ParseUnit returns for what is no unit.
var ErrUnknownUnit = errors.New("unknown unit")
