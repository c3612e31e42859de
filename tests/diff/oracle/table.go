package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Case is one row of a test table: documents by the name that the table gives them.
type Case struct {
	Description string
	Documents   map[string]json.RawMessage
}

// table finds the rows in the sources of apimachinery and writes each with what the library answers.
func table(write *json.Encoder) {
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/apimachinery").Output()
	if err != nil {
		panic(err)
	}
	root := filepath.Join(strings.TrimSpace(string(folder)), "pkg", "util")
	for _, name := range []string{"strategicpatch", "jsonmergepatch"} {
		for _, c := range cases(filepath.Join(root, name, "patch_test.go")) {
			row := map[string]any{"table": name, "description": c.Description}
			asked := map[string]Answer{}
			original, modified, current := c.Documents["original"], c.Documents["modified"], c.Documents["current"]
			switch {
			case name == "jsonmergepatch":
				asked["three"] = answer(Question{Ask: "json-three", A: original, B: modified, C: current})
				row["original"], row["modified"], row["current"] = original, modified, current
			case c.Documents["current"] == nil:
				patch := c.Documents["twoway"]
				asked["applied"] = answer(Question{Ask: "apply", Kind: "Item", A: original, B: patch})
				row["original"], row["patch"] = original, patch
			default:
				asked["made"] = answer(Question{Ask: "make", Kind: "Item", A: original, B: modified})
				asked["applied"] = answer(Question{Ask: "apply", Kind: "Item", A: original, B: asked["made"].Is})
				asked["three"] = answer(Question{Ask: "three", Kind: "Item", A: original, B: modified, C: current})
				asked["forced"] = answer(Question{Ask: "three", Kind: "Item", A: original, B: modified, C: current, Overwrite: true})
				asked["result"] = answer(Question{Ask: "apply", Kind: "Item", A: current, B: asked["forced"].Is})
				row["original"], row["modified"], row["current"] = original, modified, current
			}
			for ask, is := range asked {
				row[ask] = is
			}
			write.Encode(row)
		}
	}
}

// cases reads YAML in the literals of a Go file: whole tables, and tables of structs whose fields are YAML.
func cases(path string) (found []Case) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		panic(err)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CallExpr:
			if text, ok := bytesOf(node); ok && strings.Contains(text, "testCases:") {
				found = append(found, rows(text)...)
			}
		case *ast.CompositeLit:
			c := Case{Documents: map[string]json.RawMessage{}}
			fields(node, &c)
			if c.Description != "" && len(c.Documents) > 0 {
				found = append(found, c)
				return false
			}
		}
		return true
	})
	return found
}

func rows(text string) (found []Case) {
	var parsed struct{ TestCases []map[string]json.RawMessage }
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		panic(fmt.Sprint(err, text))
	}
	for _, row := range parsed.TestCases {
		if row["sorted"] != nil {
			continue
		}
		c := Case{Documents: map[string]json.RawMessage{}}
		for name, value := range row {
			c.Documents[strings.ToLower(name)] = value
		}
		json.Unmarshal(row["description"], &c.Description)
		found = append(found, c)
	}
	return found
}

func fields(literal *ast.CompositeLit, c *Case) {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		name := fmt.Sprint(pair.Key)
		switch value := pair.Value.(type) {
		case *ast.BasicLit:
			if name == "Description" {
				c.Description, _ = strconv.Unquote(value.Value)
			}
		case *ast.CallExpr:
			if text, ok := bytesOf(value); ok {
				document, err := yaml.YAMLToJSON([]byte(text))
				if err != nil {
					panic(err)
				}
				c.Documents[strings.ToLower(name)] = document
			}
		case *ast.CompositeLit:
			fields(value, c)
		}
	}
}

// bytesOf is the text of `[]byte("...")`.
func bytesOf(call *ast.CallExpr) (string, bool) {
	if len(call.Args) != 1 {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}
