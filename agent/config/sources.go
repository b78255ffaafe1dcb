package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxFile   = 4 << 20 // bytes; ten thousand channels take half a MiB
	mostFiles = 64      // in conf.d
)

// source is one file as it was read.
type source struct {
	file string
	text []byte
}

// readAll reads a file and those of conf.d beside it whose names end in .toml,
// in the order of their names. Hidden ones, and what editors and package
// managers leave behind (x.toml~, x.toml.dpkg-old), are none of them.
func readAll(path string) ([]source, error) {
	main, err := readSource(path)
	if err != nil {
		return nil, err
	}
	all := []source{main}
	folder := folderOf(path)
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, unreadable(folder, err)
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".toml") || strings.HasPrefix(name, ".") {
			continue
		}
		if len(all) > mostFiles {
			return nil, Errors{{File: folder, Message: fmt.Sprintf("there are more than %d files in this folder", mostFiles), Cure: "put what belongs together into one file"}}
		}
		one, err := readSource(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// folderOf is where the files lie that may change what the file at path says.
func folderOf(path string) string { return filepath.Join(filepath.Dir(path), "conf.d") }

func unreadable(path string, err error) Errors {
	cure := ""
	if errors.Is(err, os.ErrPermission) {
		cure = "let the user that runs tocsin read it"
	}
	return Errors{{File: path, Message: err.Error(), Cure: cure}}
}

func readSource(path string) (source, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return source{}, Errors{{File: path, Message: "there is no such file", Cure: "write it (tocsin example prints one to begin with), or name another with --config"}}
	case err == nil && info.IsDir() && filepath.Base(filepath.Dir(path)) == "conf.d":
		return source{}, Errors{{File: path, Message: "this is a folder", Cure: "put its files into conf.d itself"}}
	case err == nil && info.IsDir():
		return source{}, Errors{{File: path, Message: "this is a folder", Cure: "name the file in it, for example " + filepath.Join(path, "tocsin.toml")}}
	}
	text, err := readAtMost(path, maxFile)
	if err != nil {
		return source{}, unreadable(path, err)
	}
	return source{path, text}, nil
}

// readAtMost refuses files, and devices without an end, that are longer.
func readAtMost(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("this file is longer than the %d MiB that a configuration may have", most>>20)
	}
	return text, err
}

// filesOf lists what to look at to learn of a change: the files, and the folder
// where another may appear, whether or not it is there yet.
func filesOf(texts []source) []string {
	files := []string{texts[0].file, folderOf(texts[0].file)}
	for _, s := range texts[1:] {
		files = append(files, s.file)
	}
	return files
}

// hashOf is the SHA-256 in hexadecimal of one file's bytes, as sha256sum says
// it; of several, over all with the names of the later ones between them.
func hashOf(texts []source) string {
	h := sha256.New()
	for i, s := range texts {
		if i > 0 {
			fmt.Fprintf(h, "\x00%s\x00", filepath.Base(s.file))
		}
		h.Write(s.text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// withoutBOM cuts off the mark that some Windows editors put at the beginning.
func withoutBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) }
