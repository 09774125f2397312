"""The playback PBX: an AMI server that replays a recording of a real Asterisk, for runs without an Asterisk."""
