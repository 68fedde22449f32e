"""What `benchmarks.peers` measures, a row to a module, and the peers that it is measured beside."""
