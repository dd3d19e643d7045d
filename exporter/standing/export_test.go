package standing

// Agree checks what every state owes its readers.
var Agree = agree
