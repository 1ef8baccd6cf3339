/** Authenticates a request by its headers, before its body is read, and chooses the Api that it may use. */

import { AikiError, type Env, type Logger } from "@aikirun/lib";
import type { Api, Scope, Verb } from "@aikirun/lib/protocol";
import { guarded } from "../auth/guard.ts";
import type { KnownKey, KnownKeys } from "../auth/known-keys.ts";
import { lackingForScrape, lackingForVerb, seesAllNamespaces } from "../auth/policy.ts";
import { rateLimitedLog } from "../auth/rate-limited-log.ts";
import { type PresentedKey, readSecret } from "../auth/secret.ts";
import type { Exchange } from "./exchange.ts";
import { HttpRefusal } from "./refusal.ts";

/** Who may do what. */
export interface Admission {
  /** The Api that the caller may use for this verb. Throws `Refusal` 401 or 503, or `FORBIDDEN`. */
  admit(exchange: Exchange, verb: Verb): Promise<Api>;
  /** The only namespace whose metrics the caller may read, or null for all of them. Throws as `admit` does. */
  admitScrape(exchange: Exchange): Promise<string | null>;
}

export function admitAll(api: Api): Admission {
  return { admit: async () => api, admitScrape: async () => null };
}

export interface KeyHolders {
  known: KnownKeys;
  /** The Api of one namespace. */
  api: (namespace: string) => Api;
  env: Env;
  logger: Logger;
}

/** Admits requests with a valid API key to the namespace of the key. */
export function admitKeys({ known, api, env, logger }: KeyHolders): Admission {
  const apis = new WeakMap<KnownKey, Api>();
  const warn = rateLimitedLog(env, (message, fields) => logger.warn(message, fields));

  const deny = (key: KnownKey, verb: Verb | "metrics", lacking: readonly Scope[]): AikiError => {
    const scopes = lacking.join(" or ");
    warn("an API key lacks a scope", { verb, scopes, keyId: key.id, namespace: key.namespace });
    const message = `This API key lacks the scope ${scopes}, which ${verb} needs here. Use a key that has it.`;
    return new AikiError("FORBIDDEN", message);
  };

  const apiOf = (key: KnownKey): Api => {
    const made = apis.get(key) ?? guarded(api(key.namespace), key, { logger, deny });
    apis.set(key, made);
    return made;
  };

  const recognise = async (shown: PresentedKey): Promise<KnownKey | string> => {
    try {
      return await known.recognise(shown);
    } catch (error) {
      warn("API keys cannot be looked up", { error });
      throw new HttpRefusal(503, "UNAVAILABLE", "API keys cannot be looked up now. Try again.", { "retry-after": "1" });
    }
  };

  const authenticate = async (exchange: Exchange, verb: Verb | "metrics"): Promise<KnownKey> => {
    const token = tokenOf(exchange);
    const shown = token === null ? null : readSecret(token);
    const key = shown === null ? (token === null ? "missing" : "malformed") : await recognise(shown);
    if (typeof key === "string") {
      warn("authentication failed", { reason: key, verb, keyId: shown?.id });
      throw unauthorized();
    }
    return key;
  };

  return {
    async admit(exchange, verb) {
      const key = await authenticate(exchange, verb);
      const lacking = lackingForVerb(key.granted, verb);
      if (lacking.length > 0) throw deny(key, verb, lacking);
      return apiOf(key);
    },
    async admitScrape(exchange) {
      const key = await authenticate(exchange, "metrics");
      const lacking = lackingForScrape(key.granted);
      if (lacking.length > 0) throw deny(key, "metrics", lacking);
      return seesAllNamespaces(key.granted) ? null : key.namespace;
    },
  };
}

function tokenOf(exchange: Exchange): string | null {
  return /^bearer +(\S{1,255})$/i.exec(exchange.header("authorization") ?? "")?.[1] ?? null;
}

/** The same reply for every fault of a key; only the log says which fault it was. */
function unauthorized(): HttpRefusal {
  const message = "This needs a valid API key: send authorization: Bearer <key>.";
  return new HttpRefusal(401, "UNAUTHORIZED", message, { "www-authenticate": "Bearer" });
}
