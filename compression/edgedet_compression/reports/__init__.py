"""What came out: latencies, the branch report, HTML."""
