"""Networks and their weights. `zoo` lists them; nothing here imports torch before it is needed."""
