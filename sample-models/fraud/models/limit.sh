#!/bin/sh
# A model in another language: any program that answers lines on stdin with lines on stdout.
#
#     asked:     {"id":17,"data":{"amount":912.5,…}}       "id" always comes first
#     answered:  {"id":17,"result":{"score":0.9}}          or {"id":17,"error":"why not"}
#
# Try it:  rdv model run . limit -- sh models/limit.sh
# What it writes to stderr shows up in the log of `rdv serve`.

while IFS= read -r line; do
    id=${line#'{"id":'}
    id=${id%%,*}
    case $line in
        *'"amount":'*) amount=${line#*'"amount":'} ;;
        *) amount=0 ;;
    esac
    amount=${amount%%[!0-9]*}            # whole units are enough
    if [ "${amount:-0}" -ge 500 ]; then
        echo "{\"id\":$id,\"result\":{\"score\":0.9,\"action\":\"review\"}}"
    else
        echo "{\"id\":$id,\"result\":{\"score\":0.1,\"action\":\"accept\"}}"
    fi
done
