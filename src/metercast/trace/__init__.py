"""Sessions written down as they happen: a log for people and a pcap, without a secret in either."""
