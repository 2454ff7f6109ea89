{-# LANGUAGE CPP, OverloadedStrings #-}
-- Haskell's websockets against the server at HOST PORT. usage: haskell HOST PORT
import Control.Exception (try)
import Control.Monad (forM_, unless)
import qualified Data.ByteString.Lazy as Bytes
import qualified Data.Text as Text
import qualified Network.WebSockets as WS
import System.Environment (getArgs)
import System.Exit (die)

dial :: WS.ClientApp a -> IO a
dial app = do
  [host, port] <- getArgs
  WS.runClientWith host (read port) "/echo" WS.defaultConnectionOptions [("Sec-WebSocket-Protocol", "chat")] app

-- | The code with which the peer closes next, 0 if it does something else.
closed :: WS.Connection -> IO Int
closed connection = do
  heard <- try (WS.receiveDataMessage connection)
  return $ case heard of
    Left (WS.CloseRequest code _) -> fromIntegral code
    _ -> 0

main :: IO ()
main = do
  own <- dial $ \connection -> do
    forM_ [0, 1, 125, 126, 65535, 65536, 1048576] $ \size -> do
      let message = Bytes.replicate size 120
      WS.sendTextData connection message
      text <- WS.receiveDataMessage connection
      WS.sendBinaryData connection message
      binary <- WS.receiveDataMessage connection
      let alike = case (text, binary) of
            (WS.Text one _, WS.Binary other) -> one == message && other == message
            _ -> False
      unless alike $ die ("another echo of " ++ show size)
    WS.sendCloseCode connection 4000 ("so long" :: Text.Text)
    closed connection
  quit <- dial $ \connection -> WS.sendTextData connection ("quit" :: Text.Text) >> closed connection
  unless ((own, quit) == (4000, 1000)) $ die ("close codes " ++ show (own, quit))
  putStrLn ("Haskell websockets\t" ++ VERSION_websockets ++ "\t13\tno\tnot told\tclose codes 4000, 1000")
