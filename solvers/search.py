"""draft"""
import time
from typing import Any
import numpy as np
from solvers import _search_kernels as k
from solvers._search_model import SearchModel, build, time_to_go
from solvers._bound_kernels import lower_mdp, lower_fib, raise_blind


class Search:
    def __init__(self, model: SearchModel, precision: float, zeta: float = 0.5, most_hull: int = 64, slack: float = 0.02, again: float = 0.1) -> None:
        self.model = model
        m = model.table
        A, S = m.reward.shape
        C = model.n_classes
        w = time_to_go(m)
        v = max(m.reward.max(), 0.0) * w
        scale = np.abs(m.reward).max() * w.max()
        lower_mdp(m, v, 1e-9 * scale, 3000)
        q = np.empty((S, A))
        q[:] = v[:, None]
        lower_fib(m, q, 1e-4*precision, 1000)
        low = np.empty((A, S)); low[:] = min(m.reward.min(), 0.0) * w
        raise_blind(m, low, 1e-4*precision, 3000)
        self.precision = precision
        sizes = np.diff(m.class_start)
        # bounds of what one step may need
        self.most_states = int(sizes.max())
        self.most_edges, self.most_shares = self._most()
        depth = 2000
        N = max(64, 2*self.most_edges); E = N; X = 64
        I = max(self.most_shares, 1)
        small = sizes <= most_hull; M = int(sizes[small].max(initial=1))
        room = k.Room(inverse=np.zeros((M,M)), basic=np.zeros(M), column=np.zeros(M), price=np.zeros(M), basis=np.zeros(M, np.int64), dense=np.zeros(S), after=np.zeros(S), mark=np.zeros(S, np.int64), touched=np.zeros(S, np.int64),
            by_seen=np.zeros(m.n_seen+1, np.int64), seen=np.zeros(m.n_seen, np.int64), item_state=np.zeros(I, np.int64), item_prob=np.zeros(I),
            chosen=np.full(m.n_seen, -1), lanes=np.zeros(k.LANES), actions=np.zeros(A), path=np.zeros(depth, np.int64), count=np.zeros(k.N_COUNTS, np.int64),
            number=np.zeros(k.N_NUMBERS))
        room.number[k.TIE] = 0.01*precision*(1-m.discount) if m.discount<1 else 1e-4*precision
        room.number[k.ZETA] = zeta; room.number[k.SLACK] = slack; room.number[k.AGAIN] = again
        b = k.Beliefs(start=np.zeros(N+1, np.int64), state=np.zeros(2*I, np.int32), prob=np.zeros(2*I), cls=np.zeros(N, np.int32), mask=np.zeros(N, np.uint64),
            corner=np.zeros(N), low=np.zeros(N), up=np.zeros(N), vector=np.zeros(N, np.int64), low_seen=np.zeros(N, np.int64), up_seen=np.zeros(N, np.int64),
            point=np.zeros(N, np.int64), place=np.zeros(N, np.int64), hull_seen=np.zeros(N, np.int64), node=np.zeros(N, np.int64), expanded=np.zeros(X, np.int64), edges=np.zeros(X*A, np.int64), edges_end=np.zeros(X*A, np.int64), gain=np.zeros(X*A), action_up=np.zeros(X*A),
            child=np.zeros(E, np.int64), seen=np.zeros(E, np.int32), weight=np.zeros(E), table=np.full(1 << int(np.ceil(np.log2(4*N))), -1))
        vec = self._vectors(low, sizes)
        room.count[k.N_BLOCKS] = self._nb; room.count[k.N_POOL] = self._np
        P = 64
        p = k.Points(belief=np.zeros(P, np.int64), drop=np.zeros(P), following=np.zeros(P, np.int64), before=np.zeros(P, np.int64), first=np.full(C, -1), last=np.full(C, -1), updates=np.zeros(C, np.int64))
        hull = k.Hull(pool=np.zeros(max(4096, 4*self.most_states*k.LANES)), block_at=np.zeros(64, np.int64), following=np.zeros(64, np.int64), first=np.where(small & (sizes > 1), -1, -2), last=np.full(C,-1), newest=np.full(C, -1), worth=np.zeros(64*k.LANES), mask=np.zeros(64*k.LANES, np.uint64))
        self.z = k.State(m=m, q=q, b=b, v=vec, p=p, h=hull, room=room)
        cls = int(m.class_of[model.start_state[0]])
        self.mass = model.start_prob.sum()
        k.add_belief(self.z, cls, model.start_state.astype(np.int32), model.start_prob/self.mass)

    def _most(self):
        m = self.model.table
        A, S = m.reward.shape
        e = s = 0
        C = self.model.n_classes
        # for each class, action: distinct next states, their observations
        cnt = np.diff(m.t_start)
        row = np.repeat(np.arange(A*S), cnt)
        a, st = np.divmod(row, S)
        key = (m.class_of[st].astype(np.int64)*A + a)*S + m.t_state
        key = np.unique(key)
        ca, s2 = np.divmod(key, S)
        tab = m.o_table[ca % A]*S + s2
        n = m.o_start[tab+1]-m.o_start[tab]
        per = np.bincount(ca, weights=n, minlength=C*A).reshape(C, A)
        shares = per.sum(axis=1).max(initial=0)
        edges = np.minimum(per, m.n_seen).sum(axis=1).max(initial=0)
        return int(edges), int(shares)

    def _vectors(self, low, sizes):
        m = self.model.table
        C = sizes.size
        rows, acts = [], []
        L = k.LANES
        first = np.zeros(C, np.int64); last=np.zeros(C, np.int64); lastv=np.zeros(C, np.int64); default=np.zeros(C, np.int64)
        blocks=[]; at=[]; foll=[]; action=[]
        pos=0
        for c in range(C):
            part = low[:, m.class_start[c]:m.class_start[c+1]]
            order = np.argsort(-part.sum(axis=1), kind='stable')
            keep=[]
            for i in order:
                if not any((part[j] >= part[i]).all() for j in keep): keep.append(i)
            nb = -(-len(keep)//L)
            first[c]=len(at); default[c]=len(at)*L
            for bi in range(nb):
                blk = np.full((sizes[c], L), -np.inf)
                sub = keep[bi*L:(bi+1)*L]
                blk[:, :len(sub)] = part[sub].T
                act=np.zeros(L, np.int16); act[:len(sub)]=sub
                action.append(act); blocks.append(blk.ravel()); at.append(pos); pos+=blk.size
                foll.append(len(at) if bi<nb-1 else -1)
                lastv[c]=(len(at)-1)*L+len(sub)-1
            last[c]=len(at)-1
        self._nb=len(at); self._np=pos
        return k.Vectors(pool=np.concatenate(blocks), block_at=np.array(at), following=np.array(foll), first=first, last=last, last_vector=lastv, default=default, action=np.concatenate(action))

    def grow(self):
        z=self.z; c=z.room.count
        def more(arr, used, need, fill=0):
            if used+need <= arr.size: return arr
            new = np.empty(max(2*arr.size, used+need), arr.dtype); new[:arr.size]=arr; 
            return new
        b=z.b; N=b.cls.size
        A = z.m.reward.shape[0]
        rep={}
        if c[k.N_BELIEFS]+self.most_edges+1 >= N:
            for f in ("start","cls","mask","corner","low","up","vector","low_seen","up_seen","point","place","hull_seen","node"):
                rep[f]=more(getattr(b,f), getattr(b,f).size, N)
        if c[k.N_SHARES]+self.most_shares+1 > b.prob.size:
            for f in ("state","prob"): rep[f]=more(getattr(b,f), b.prob.size, max(self.most_shares, b.prob.size))
        if c[k.N_EXPANDED]+1 >= b.expanded.size:
            rep["expanded"]=more(b.expanded,b.expanded.size,b.expanded.size)
            for f in ("edges","edges_end","gain","action_up"): rep[f]=more(getattr(b,f), getattr(b,f).size, getattr(b,f).size)
        if c[k.N_EDGES]+self.most_edges+1 > b.child.size:
            for f in ("child","seen","weight"): rep[f]=more(getattr(b,f), b.child.size, b.child.size)
        re=False
        if 2*(c[k.N_BELIEFS]+self.most_edges+1) >= b.table.size:
            rep["table"]=np.full(2*b.table.size,-1); re=True
        b=b._replace(**rep)
        v=z.v
        rep={}
        if c[k.N_BLOCKS]+1 >= v.block_at.size:
            n=v.block_at.size
            for f in ("block_at","following"): rep[f]=more(getattr(v,f), n, n)
            rep["action"]=more(v.action, n*k.LANES, n*k.LANES)
        if c[k.N_POOL]+self.most_states*k.LANES >= v.pool.size:
            pool=more(v.pool, v.pool.size, max(v.pool.size, self.most_states*k.LANES))
            pool[v.pool.size:]=0
            rep["pool"]=pool
        v=v._replace(**rep)
        p=z.p
        rep={}
        if c[k.N_POINTS]+1 >= p.drop.size:
            for f in ("belief","drop","following","before"): rep[f]=more(getattr(p,f),p.drop.size,p.drop.size)
        p=p._replace(**rep)
        h=z.h; rep={}
        if c[k.H_BLOCKS]+1 >= h.block_at.size:
            n=h.block_at.size
            for f in ("block_at","following"): rep[f]=more(getattr(h,f), n, n)
            for f in ("worth","mask"): rep[f]=more(getattr(h,f), n*k.LANES, n*k.LANES)
        if c[k.H_POOL]+self.most_states*k.LANES >= h.pool.size:
            rep["pool"]=more(h.pool, h.pool.size, max(h.pool.size, self.most_states*k.LANES))
        h=h._replace(**rep)
        self.z=k.State(m=z.m,q=z.q,b=b,v=v,p=p,h=h,room=z.room)
        if re: k.rehash(self.z)

    def run(self, limit: float, verbose=False):
        t0=time.process_time(); budget=100_000
        self.history=[]
        while True:
            t=time.process_time()
            r=k.search(self.z, self.precision, budget, self.most_edges, self.most_shares, self.most_states)
            now=time.process_time()
            self.history.append((now-t0, self.z.b.low[0]*self.mass, self.z.b.up[0]*self.mass))
            if r==k.CLOSED: return "precision"
            if now-t0>limit: return "time"
            if r==k.GROW: self.grow()
            elif now-t<0.05: budget=min(budget*2, 1<<40)
            elif now-t>0.1: budget=max(budget//2, 1000)
