title: A server that takes a second over TCP
why: Slow is not dead: the answer is waited for.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  truncate_always for www.example.test type A
  tcp_slow 1s

---
ask www.example.test A
expect NOERROR secure
expect within 4s
