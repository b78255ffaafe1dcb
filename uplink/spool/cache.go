package spool

import "slices"

// cache keeps the blocks used last, decoded, so that the lanes of a topic that
// go through the same blocks do not each unpack them.
type cache struct{ blocks []*block } // the one used last comes last

const (
	cacheBlocks = 64
	cacheBytes  = 4 << 20
	metaBytes   = 80 // about, of one record
)

func (c *cache) get(p place) *block {
	for i := len(c.blocks) - 1; i >= 0; i-- {
		if b := c.blocks[i]; b.place == p {
			copy(c.blocks[i:], c.blocks[i+1:])
			c.blocks[len(c.blocks)-1] = b
			return b
		}
	}
	return nil
}

func (c *cache) put(b *block) {
	c.blocks = append(c.blocks, b)
	size := 0
	for i := len(c.blocks) - 1; i >= 0; i-- {
		size += len(c.blocks[i].metas)*metaBytes + len(c.blocks[i].bodies)
		if size > cacheBytes && i < len(c.blocks)-1 || len(c.blocks)-i > cacheBlocks {
			c.blocks = slices.Delete(c.blocks, 0, i+1)
			return
		}
	}
}

func (c *cache) forget(p place) {
	c.blocks = slices.DeleteFunc(c.blocks, func(b *block) bool { return b.place == p })
}

func (c *cache) drop(files []*file) {
	for _, f := range files {
		c.blocks = slices.DeleteFunc(c.blocks, func(b *block) bool { return b.file == f.number })
	}
}
