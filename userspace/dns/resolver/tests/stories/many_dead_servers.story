title: Twelve of thirteen servers are dead
why: Delegations with thirteen names exist; the one that lives is found within the client's patience.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  dead
server ns2.example.test 10.0.1.2 serves example.test
  dead
server ns3.example.test 10.0.1.3 serves example.test
  dead
server ns4.example.test 10.0.1.4 serves example.test
  dead
server ns5.example.test 10.0.1.5 serves example.test
  dead
server ns6.example.test 10.0.1.6 serves example.test
  dead
server ns7.example.test 10.0.1.7 serves example.test
server ns8.example.test 10.0.1.8 serves example.test
  dead
server ns9.example.test 10.0.1.9 serves example.test
  dead
server ns10.example.test 10.0.1.10 serves example.test
  dead
server ns11.example.test 10.0.1.11 serves example.test
  dead
server ns12.example.test 10.0.1.12 serves example.test
  dead
server ns13.example.test 10.0.1.13 serves example.test
  dead

---
ask www.example.test A
expect within 4s
expect at most 40 queries
ask www.example.test A refresh
expect NOERROR secure
expect within 7s
