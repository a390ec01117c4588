"""One module per command type: parameters, COSEM steps, verification. `registry` lists them."""
