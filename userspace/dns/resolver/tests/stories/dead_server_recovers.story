title: A dead server comes back, and the other one dies
why: The memory of a failure must not outlive it (RFC 9520 section 3.2: 5 minutes at most).

world usual
zone example.test signed ttl=60
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
server ns2.example.test 10.0.1.2 serves example.test

---
server ns1.example.test dies
ask www.example.test A
expect NOERROR secure
server ns1.example.test recovers
server ns2.example.test dies
time passes 10m
ask www.example.test A
expect NOERROR secure
expect within 3s
