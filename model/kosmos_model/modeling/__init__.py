"""The network of KOSMOS-1: image encoder, resampler, decoder, tokenizer, checkpoints."""
