title: Nine zones in a row, all signed
why: Each level costs a referral and its keys, and no more.

zone . signed
zone a signed
zone b.a signed
zone c.b.a signed
zone d.c.b.a signed
zone e.d.c.b.a signed
zone f.e.d.c.b.a signed
zone g.f.e.d.c.b.a signed
zone h.g.f.e.d.c.b.a signed
zone i.h.g.f.e.d.c.b.a signed
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.a 10.0.1.1 serves a
server ns.b.a 10.0.1.2 serves b.a
server ns.c.b.a 10.0.1.3 serves c.b.a
server ns.d.c.b.a 10.0.1.4 serves d.c.b.a
server ns.e.d.c.b.a 10.0.1.5 serves e.d.c.b.a
server ns.f.e.d.c.b.a 10.0.1.6 serves f.e.d.c.b.a
server ns.g.f.e.d.c.b.a 10.0.1.7 serves g.f.e.d.c.b.a
server ns.h.g.f.e.d.c.b.a 10.0.1.8 serves h.g.f.e.d.c.b.a
server ns.i.h.g.f.e.d.c.b.a 10.0.1.9 serves i.h.g.f.e.d.c.b.a

---
ask www.i.h.g.f.e.d.c.b.a A
expect NOERROR secure
expect at most 30 queries
