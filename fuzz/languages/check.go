// What was judged is what encoding/json reads: into structs, where it takes
// names for each other that differ in case, and into maps.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
)

type line struct {
	Body    string
	Reading reading
}

type reading struct {
	Kind                                       string
	Method, Name, URI, TaskID, ProtocolVersion any
	Ref, Notifications                         any
	ArgumentKeys                               []string
}

// A message as a server in Go would declare it.
type message struct {
	JSONRPC any `json:"jsonrpc"`
	ID      any `json:"id"`
	Method  any `json:"method"`
	Result  any `json:"result"`
	Error   any `json:"error"`
	Params  struct {
		Name      any            `json:"name"`
		URI       any            `json:"uri"`
		TaskID    any            `json:"taskId"`
		Arguments map[string]any `json:"arguments"`
		Meta      struct {
			Version any `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
		Ref struct {
			Type any `json:"type"`
			Name any `json:"name"`
			URI  any `json:"uri"`
		} `json:"ref"`
		Notifications struct {
			Resources any `json:"resourceSubscriptions"`
			Tasks     any `json:"taskIds"`
		} `json:"notifications"`
	} `json:"params"`
}

func check(judged reading, body string) error {
	var seen message
	var whole map[string]any
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		return nil // What is refused is not run.
	}
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal([]byte(body), &seen); err != nil && !errors.As(err, &wrongType) {
		return err
	}
	var failed error
	said := func(what string, judged, seen any) {
		// `false` decides nothing.
		if judged != false && !reflect.DeepEqual(judged, seen) && failed == nil {
			failed = fmt.Errorf("%s: %v was judged, and %v is read", what, judged, seen)
		}
	}
	at := func(path ...string) any {
		var value any = whole
		for _, key := range path {
			members, _ := value.(map[string]any)
			value = members[key]
		}
		return value
	}
	said("jsonrpc", "2.0", seen.JSONRPC)
	said("method", judged.Method, seen.Method)
	said("method", judged.Method, at("method"))
	if has := seen.ID != nil; has == (judged.Kind == "notification") {
		return fmt.Errorf("it is a %s to us, and that it has an id is %v", judged.Kind, has)
	}
	if judged.Kind == "response" {
		return failed
	}
	said("result", nil, seen.Result)
	said("error", nil, seen.Error)
	params := seen.Params
	for _, row := range []struct {
		key          string
		judged, seen any
	}{
		{"name", judged.Name, params.Name},
		{"uri", judged.URI, params.URI},
		{"taskId", judged.TaskID, params.TaskID},
	} {
		said(row.key, row.judged, row.seen)
		said(row.key, row.judged, at("params", row.key))
	}
	said("version", judged.ProtocolVersion, params.Meta.Version)
	if ref, ok := judged.Ref.(map[string]any); ok {
		said("ref.type", ref["type"], params.Ref.Type)
		said("ref.name", ref["name"], params.Ref.Name)
		said("ref.uri", ref["uri"], params.Ref.URI)
	}
	if asked, ok := judged.Notifications.(map[string]any); ok {
		for _, row := range []struct {
			key  string
			seen any
		}{
			{"resourceSubscriptions", params.Notifications.Resources},
			{"taskIds", params.Notifications.Tasks},
		} {
			// A list that is empty may not be there at all.
			if list, _ := asked[row.key].([]any); len(list) > 0 || row.seen != nil {
				said(row.key, asked[row.key], row.seen)
			}
		}
	}
	for _, key := range judged.ArgumentKeys {
		if _, ok := params.Arguments[key]; !ok {
			return fmt.Errorf("the argument %q is not read", key)
		}
	}
	if len(judged.ArgumentKeys) < 64 {
		said("arguments", len(judged.ArgumentKeys), len(params.Arguments))
	}
	return failed
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	count := 0
	for ; lines.Scan(); count++ {
		var next line
		err := json.Unmarshal(lines.Bytes(), &next)
		if err == nil {
			err = check(next.Reading, next.Body)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "go reads otherwise: %q: %v\n", next.Body, err)
			os.Exit(1)
		}
	}
	if lines.Err() != nil || count == 0 {
		fmt.Fprintln(os.Stderr, "no body was let through, so nothing was checked", lines.Err())
		os.Exit(1)
	}
	fmt.Printf("go: %d bodies read as they were judged\n", count)
}
