// Command oracle answers what Kubernetes' own libraries make of documents: one JSON question a line, one answer a line.
//
// `oracle -table` writes the questions that the tests of k8s.io/apimachinery ask, with the answers that it gives.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// Item is the type that apimachinery's tests are about, by its facts: members, strategies and merge keys.
type Item struct {
	Name                  string            `json:"name,omitempty"`
	Value                 string            `json:"value,omitempty"`
	Other                 string            `json:"other,omitempty"`
	MergingList           []Item            `json:"mergingList,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	NonMergingList        []Item            `json:"nonMergingList,omitempty"`
	MergingIntList        []int             `json:"mergingIntList,omitempty" patchStrategy:"merge"`
	NonMergingIntList     []int             `json:"nonMergingIntList,omitempty"`
	MergeItemPtr          *Item             `json:"mergeItemPtr,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	SimpleMap             map[string]string `json:"simpleMap,omitempty"`
	ReplacingItem         map[string]any    `json:"replacingItem,omitempty" patchStrategy:"replace"`
	RetainKeysMap         Retaining         `json:"retainKeysMap,omitempty" patchStrategy:"retainKeys"`
	RetainKeysMergingList []Item            `json:"retainKeysMergingList,omitempty" patchStrategy:"merge,retainKeys" patchMergeKey:"name"`
}

// Retaining is what Item keeps with the strategy retainKeys.
type Retaining struct {
	Name           string            `json:"name,omitempty"`
	Value          string            `json:"value,omitempty"`
	Other          string            `json:"other,omitempty"`
	SimpleMap      map[string]string `json:"simpleMap,omitempty"`
	MergingIntList []int             `json:"mergingIntList,omitempty" patchStrategy:"merge"`
	MergingList    []Item            `json:"mergingList,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	NonMergingList []Item            `json:"nonMergingList,omitempty"`
}

var kinds = map[string]any{"Item": Item{}, "Deployment": appsv1.Deployment{}, "Pod": corev1.Pod{}, "Service": corev1.Service{}}

// Question is one thing to find out; which documents count depends on Ask.
type Question struct {
	Ask, Kind string
	A, B, C   json.RawMessage
	Overwrite bool
}

// Answer holds a document, or says why there is none.
type Answer struct {
	Is       json.RawMessage `json:"is,omitempty"`
	Conflict bool            `json:"conflict,omitempty"`
	Error    string          `json:"error,omitempty"`
}

func answer(q Question) Answer {
	var document []byte
	var err error
	if q.Ask == "quantity" {
		return quantities(q)
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(kinds[q.Kind])
	if err != nil && q.Ask != "json-three" {
		return Answer{Error: err.Error()}
	}
	switch q.Ask {
	case "make": // from A to B
		document, err = strategicpatch.CreateTwoWayMergePatchUsingLookupPatchMeta(q.A, q.B, schema)
	case "apply": // B to A
		document, err = strategicpatch.StrategicMergePatchUsingLookupPatchMeta(q.A, q.B, schema)
	case "three": // last applied, desired, live
		document, err = strategicpatch.CreateThreeWayMergePatch(q.A, q.B, q.C, schema, q.Overwrite)
	case "json-three":
		document, err = jsonmergepatch.CreateThreeWayJSONMergePatch(q.A, q.B, q.C)
	default:
		err = fmt.Errorf("what is %q?", q.Ask)
	}
	if err != nil {
		return Answer{Conflict: mergepatch.IsConflict(err), Error: err.Error()}
	}
	return Answer{Is: document}
}

func quantities(q Question) Answer {
	var a, b resource.Quantity
	for from, to := range map[*json.RawMessage]*resource.Quantity{&q.A: &a, &q.B: &b} {
		if err := json.Unmarshal(*from, to); err != nil {
			return Answer{Error: err.Error()}
		}
	}
	same, _ := json.Marshal(a.Cmp(b) == 0)
	return Answer{Is: same}
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	write := json.NewEncoder(out)
	if len(os.Args) > 1 && os.Args[1] == "-table" {
		table(write)
		return
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		var q Question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		write.Encode(answer(q))
		if err := out.Flush(); err != nil {
			panic(err)
		}
	}
}
