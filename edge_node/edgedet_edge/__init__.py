"""The edge node: photos in over HTTP, answers out; the rest of a running inference moves to a cloud when it pays."""
