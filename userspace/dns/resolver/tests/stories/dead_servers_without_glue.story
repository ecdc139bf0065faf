title: Servers with names elsewhere, and the address that is found first is dead
why: Whoever takes the first address that comes, and asks it until it is given up, makes a client wait for seconds where another address is known already.

world usual
zone hosting.test signed
  ns1 A 10.0.1.1
  ns2 A 10.0.1.2
  ns3 A 10.0.1.3
zone example.test signed
  @ NS ns1.hosting.test.
  @ NS ns2.hosting.test.
  @ NS ns3.hosting.test.
  www A 203.0.113.1
server ns.hosting.test 10.0.2.1 serves hosting.test
server ns1.hosting.test 10.0.1.1 serves example.test
  dead
server ns2.hosting.test 10.0.1.2 serves example.test
server ns3.hosting.test 10.0.1.3 serves example.test
  dead

---
ask www.example.test A
expect NOERROR secure
expect within 700ms
expect at most 40 queries
