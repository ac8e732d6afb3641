# A model in R: a line of JSON for each row on stdin, one back on stdout.
#
#   rdv model add fraud limit -- Rscript examples/r/limit.R
suppressPackageStartupMessages(library(jsonlite))

score <- function(data) {
  if (!is.numeric(data$amount)) stop("amount is not a number")
  risk <- min(1, data$amount / 10000)
  list(score = risk, action = if (risk > 0.5) "review" else "accept")
}

answer <- function(asked) {
  tryCatch(
    list(id = asked$id, result = score(asked$data)),
    error = function(problem) list(id = asked$id, error = conditionMessage(problem))
  )
}

# It ends when its stdin ends: that is how rdv ends a model.
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  asked <- fromJSON(line, simplifyVector = FALSE)
  cat(toJSON(answer(asked), auto_unbox = TRUE, digits = NA), "\n", sep = "")
  flush(stdout())
}
