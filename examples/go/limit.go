// A model in Go: a line of JSON for each row on stdin, one back on stdout.
//
//	go build -o fraud/models/limit examples/go/limit.go
//	rdv model add fraud limit -- models/limit
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
)

type question struct {
	ID   int64 `json:"id"`
	Data struct {
		Amount *float64 `json:"amount"`
	} `json:"data"`
}

type result struct {
	Score  float64 `json:"score"`
	Action string  `json:"action"`
}

type answer struct {
	ID     int64   `json:"id"`
	Result *result `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func predict(asked question) answer {
	if asked.Data.Amount == nil {
		return answer{ID: asked.ID, Error: "amount is missing"}
	}
	score := min(1, *asked.Data.Amount/10_000)
	action := "accept"
	if score > 0.5 {
		action = "review"
	}
	return answer{ID: asked.ID, Result: &result{score, action}}
}

// It ends when its stdin ends: that is how rdv ends a model.
func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	answers := json.NewEncoder(os.Stdout) // writes a line, at once
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked question
		if err := json.Unmarshal(line, &asked); err != nil && asked.ID == 0 {
			log.Fatal(err) // without the id there is no answer
		}
		if err := answers.Encode(predict(asked)); err != nil {
			return
		}
	}
}
