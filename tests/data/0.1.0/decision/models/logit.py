version = "logit-1"


def predict(rows):
    for row in rows:
        if row["amount"] > 10000:
            raise ValueError("an amount that gbm has never seen")
    return [{"score": row["amount"] / 1000, "action": "accept"} for row in rows]
