"""From a merged model to a GGUF file that a local server runs: converted, checked, tried and installed."""
