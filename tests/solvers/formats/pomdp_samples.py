"""Small files in every format, written anew: what tests read, and what the fuzz test mutates."""

TIGER = """# Behind one of two doors waits a tiger.
discount: 0.95
values: reward
states: tiger-left tiger-right
actions: listen open-left open-right
observations: growl-left growl-right
start: 0.5 0.5
T: listen
identity
T: open-left uniform
T: open-right
0.5 0.5
0.5 0.5
O: listen
0.85 0.15
0.15 0.85
O: open-left
uniform
O: open-right
uniform
R: listen : * : * : * -1
R: open-left : tiger-left : * : * -100
R: open-left : tiger-right : * : * 10
R: open-right : tiger-left : * : * 10
R: open-right : tiger-right : * : * - 100
"""

WALK = """discount: 0.9
values: cost
states: 4
actions: stay go
observations: wall free
start include: 0 1
T: * : * : * 0.0
T: stay
identity
T: go : 0 : 1 0.75
T: go : 0 : 0 0.25
T: go : 1 : 2 1.0
T: go : 2 : 3 1.0
T: go : 3 reset
O: * : * : free 1.0
O: * : 3 : free 0.1
O: * : 3 : wall 0.9
R: * : * : * : * 1.0
R: go : 2 : 3 : * 0.0
R: go : 3 : 0
5 6
R: stay : 1
1 2
3 4
5 6
7 8
"""

MDP = """discount: 1.0 values: reward states: a b actions: go
T: go : a 0.5 0.5 T: go : b uniform
R: go : a : b 4
R: go : b 1 2
"""

VARIABLES = """<Variable>
<StateVar vnamePrev="rover_0" vnameCurr="rover_1" fullyObs="true"><NumValues>3</NumValues></StateVar>
<StateVar vnamePrev="rock_0" vnameCurr="rock_1"><ValueEnum>good bad</ValueEnum></StateVar>
<ActionVar vname="move"><ValueEnum>west east check sample</ValueEnum></ActionVar>
<ObsVar vname="sensor"><ValueEnum>ogood obad</ValueEnum></ObsVar>
<RewardVar vname="gain"/>
</Variable>
"""
BELIEF = """<InitialStateBelief>
<CondProb><Var>rover_0</Var><Parent>null</Parent><Parameter type="TBL">
<Entry><Instance>-</Instance><ProbTable>0.0 1.0 0.0</ProbTable></Entry></Parameter></CondProb>
<CondProb><Var>rock_0</Var><Parent>null</Parent><Parameter type="TBL">
<Entry><Instance>-</Instance><ProbTable>uniform</ProbTable></Entry></Parameter></CondProb>
</InitialStateBelief>
"""
MOVES = """<StateTransitionFunction>
<CondProb><Var>rover_1</Var><Parent>move rover_0</Parent><Parameter type="TBL">
<Entry><Instance>* - -</Instance><ProbTable>identity</ProbTable></Entry>
<Entry><Instance>west - -</Instance><ProbTable>0 0 1 1 0 0 0 0 1</ProbTable></Entry>
<Entry><Instance>east s0 -</Instance><ProbTable>0 1 0</ProbTable></Entry>
<Entry><Instance>east s1 s1</Instance><ProbTable>0.0</ProbTable></Entry>
<Entry><Instance>east s1 s2</Instance><ProbTable>1.0</ProbTable></Entry>
</Parameter></CondProb>
<CondProb><Var>rock_1</Var><Parent>move rover_0 rock_0</Parent><Parameter type="TBL">
<Entry><Instance>* * - -</Instance><ProbTable>identity</ProbTable></Entry>
<Entry><Instance>sample s0 * -</Instance><ProbTable>0.0 1.0</ProbTable></Entry>
</Parameter></CondProb>
</StateTransitionFunction>
"""
SENSOR = """<ObsFunction>
<CondProb><Var>sensor</Var><Parent>move rover_1 rock_1</Parent><Parameter type="TBL">
<Entry><Instance>* * * -</Instance><ProbTable>1.0 0.0</ProbTable></Entry>
<Entry><Instance>check s0 - -</Instance><ProbTable>1.0 0.0 0.0 1.0</ProbTable></Entry>
<Entry><Instance>check s1 - -</Instance><ProbTable>0.8 0.2 0.2 0.8</ProbTable></Entry>
</Parameter></CondProb>
</ObsFunction>
"""
GAIN = """<RewardFunction>
<Func><Var>gain</Var><Parent>move rover_0 rock_0</Parent><Parameter type="TBL">
<Entry><Instance>east s1 *</Instance><ValueTable>10</ValueTable></Entry>
<Entry><Instance>west s0 *</Instance><ValueTable>-100</ValueTable></Entry>
<Entry><Instance>sample s1 *</Instance><ValueTable>-100</ValueTable></Entry>
<Entry><Instance>sample s0 -</Instance><ValueTable>10 -10</ValueTable></Entry>
</Parameter></Func>
</RewardFunction>
"""


def pomdpx(
    *, variables: str = VARIABLES, belief: str = BELIEF, moves: str = MOVES, sensor: str = SENSOR, gain: str = GAIN
) -> str:
    """A rover on three fields, the third the exit, and a rock on the first: good or bad, and only a sensor tells."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<pomdpx version="1.0" id="rover">\n<Discount>0.95</Discount>\n'
        f"{variables}{belief}{moves}{sensor}{gain}</pomdpx>\n"
    )


MOVES_DIAGRAM = """<StateTransitionFunction>
<CondProb><Var>rover_1</Var><Parent>move rover_0</Parent><Parameter type="DD"><DAG><Node var="move">
<Edge val="west"><Node var="rover_0">
<Edge val="s0"><SubDAG type="deterministic" var="rover_1" val="s2"/></Edge>
<Edge val="s1"><SubDAG type="deterministic" var="rover_1" val="s0"/></Edge>
<Edge val="s2"><SubDAG type="template" idref="stay"/></Edge>
</Node></Edge>
<Edge val="east"><Node var="rover_0">
<Edge val="s0"><Node var="rover_1"><Edge val="s1"><Terminal>1.0</Terminal></Edge></Node></Edge>
<Edge val="s1"><SubDAG type="deterministic" var="rover_1" val="s2"/></Edge>
<Edge val="s2"><SubDAG type="persistent" var="rover_1"/></Edge>
</Node></Edge>
<Edge val="check"><SubDAG type="template" idref="stay"/></Edge>
<Edge val="sample"><SubDAG type="template" idref="stay"/></Edge>
</Node></DAG>
<SubDAGTemplate id="stay"><SubDAG type="persistent" var="rover_1"/></SubDAGTemplate>
</Parameter></CondProb>
<CondProb><Var>rock_1</Var><Parent>move rover_0 rock_0</Parent><Parameter type="DD"><DAG><Node var="move">
<Edge val="west"><SubDAG type="persistent" var="rock_1"/></Edge>
<Edge val="east"><SubDAG type="persistent" var="rock_1"/></Edge>
<Edge val="check"><SubDAG type="persistent" var="rock_1"/></Edge>
<Edge val="sample"><Node var="rover_0">
<Edge val="s0"><SubDAG type="deterministic" var="rock_1" val="bad"/></Edge>
<Edge val="s1"><SubDAG type="persistent" var="rock_1"/></Edge>
<Edge val="s2"><SubDAG type="persistent" var="rock_1"/></Edge>
</Node></Edge>
</Node></DAG></Parameter></CondProb>
</StateTransitionFunction>
"""
BELIEF_DIAGRAM = """<InitialStateBelief>
<CondProb><Var>rover_0 rock_0</Var><Parent>null</Parent><Parameter type="DD"><DAG><Node var="rover_0">
<Edge val="s0"><Terminal>0.0</Terminal></Edge>
<Edge val="s1"><SubDAG type="uniform" var="rock_0"/></Edge>
<Edge val="s2"><Terminal>0.0</Terminal></Edge>
</Node></DAG></Parameter></CondProb>
</InitialStateBelief>
"""
SENSOR_DIAGRAM = """<ObsFunction>
<CondProb><Var>sensor</Var><Parent>move rover_1 rock_1</Parent><Parameter type="DD"><DAG><Node var="move">
<Edge val="west"><SubDAG type="deterministic" var="sensor" val="ogood"/></Edge>
<Edge val="east"><SubDAG type="deterministic" var="sensor" val="ogood"/></Edge>
<Edge val="check"><Node var="rover_1">
<Edge val="s0"><Node var="rock_1">
<Edge val="good"><SubDAG type="deterministic" var="sensor" val="ogood"/></Edge>
<Edge val="bad"><SubDAG type="deterministic" var="sensor" val="obad"/></Edge>
</Node></Edge>
<Edge val="s1"><SubDAG type="template" idref="noisy"/></Edge>
<Edge val="s2"><SubDAG type="deterministic" var="sensor" val="ogood"/></Edge>
</Node></Edge>
<Edge val="sample"><SubDAG type="deterministic" var="sensor" val="ogood"/></Edge>
</Node></DAG>
<SubDAGTemplate id="noisy"><Node var="rock_1">
<Edge val="good"><Node var="sensor">
<Edge val="ogood"><Terminal>0.8</Terminal></Edge><Edge val="obad"><Terminal>0.2</Terminal></Edge>
</Node></Edge>
<Edge val="bad"><Node var="sensor">
<Edge val="ogood"><Terminal>0.2</Terminal></Edge><Edge val="obad"><Terminal>0.8</Terminal></Edge>
</Node></Edge>
</Node></SubDAGTemplate>
</Parameter></CondProb>
</ObsFunction>
"""
GAIN_DIAGRAM = """<RewardFunction>
<Func><Var>gain</Var><Parent>move rover_0 rock_0</Parent><Parameter type="DD"><DAG><Node var="move">
<Edge val="west"><Node var="rover_0"><Edge val="s0"><Terminal>-100.0</Terminal></Edge></Node></Edge>
<Edge val="east"><Node var="rover_0"><Edge val="s1"><Terminal>10.0</Terminal></Edge></Node></Edge>
<Edge val="check"><Terminal>0.0</Terminal></Edge>
<Edge val="sample"><Node var="rover_0">
<Edge val="s0"><Node var="rock_0">
<Edge val="good"><Terminal>10</Terminal></Edge><Edge val="bad"><Terminal>-10</Terminal></Edge>
</Node></Edge>
<Edge val="s1"><Terminal>-100</Terminal></Edge>
<Edge val="s2"><Terminal>0</Terminal></Edge>
</Node></Edge>
</Node></DAG></Parameter></Func>
</RewardFunction>
"""
ROVER = pomdpx()
ROVER_DIAGRAMS = pomdpx(belief=BELIEF_DIAGRAM, moves=MOVES_DIAGRAM, sensor=SENSOR_DIAGRAM, gain=GAIN_DIAGRAM)

ALPHA = """0
-81.597241 28.402759 \n
1
3.0104 24.6956 \n
2
-4.0 1.0e1 \n
"""
GRAPH = """0 2  1 3
1 0  0 -
2 1  X 3
3 0  2 2
"""
APPL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<Policy version="0.1" type="value" model="/home/some & one/a<b.pomdp" xmlns:xsi="http://example.org/x">
<AlphaVector vectorLength="3" numObsValue="2" numVectors="3">
<Vector action="1" obsValue="0">19.3711 -80.5 1e-05 </Vector>
<Vector action="0" obsValue="1">28.4028 -81.5972 0 </Vector>
<SparseVector action="2" obsValue="1"><Entry>0 3.5</Entry><Entry>2 -1.25</Entry></SparseVector>
</AlphaVector> </Policy>
"""
