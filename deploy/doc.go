// Package deploy holds plancast's deployment files: docker-compose.yml and the
// Dockerfile at the top of the repository, compose/ and kubernetes/ here. Its
// tests check them with the libraries of those who read them: compose-go is
// what docker compose loads files with, buildkit's parser reads Dockerfiles,
// and the types are those of the Kubernetes API and the Prometheus operator.
//
// It is a module of its own so that these libraries, which no program of
// plancast's uses, stay out of the versions that its programs are built with.
package deploy
