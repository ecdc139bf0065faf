title: A chain of a hundred aliases
why: A chain of an attacker costs a question for each link; eleven is what is followed (Unbound: max-query-restarts 11).

world usual
zone example.test
  link100 A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  cname_chain 100

---
ask www.example.test A
expect SERVFAIL
expect at most 40 queries
