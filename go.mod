module github.com/plancast/plancast

go 1.26.8
