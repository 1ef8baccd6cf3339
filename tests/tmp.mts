import { systemEnv } from "@aikirun/lib";
import { createConnector } from "../packages/client/src/redis.ts";

const { connector } = createConnector({ host: "127.0.0.1", port: 17999, cluster: true }, systemEnv({ id: () => "x" }));
const c = await connector.connect(2000);
console.log(c);
if (c.ok) {
  const t = performance.now();
  for (let i = 0; i < 12; i++) {
    console.log(Math.round(performance.now() - t), await c.connection.send(["xadd", "{a}:b", "*", "run", "x"], 1000));
    await new Promise((r) => setTimeout(r, 300));
  }
}
process.exit();
