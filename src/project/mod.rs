//! What is open: manifest, labels, runs and caches.
